"""The models of the benchmarks, written for any module with PyTorch's names."""
from __future__ import annotations

from typing import Any


def gpt(t: Any, vocabulary: int = 1024, longest: int = 256, width: int = 256, heads: int = 8, depth: int = 4) -> Any:
    """A decoder of `depth` blocks, before-normalized, for token numbers [batch, length]."""
    nn, f = t.nn, t.nn.functional

    class Block(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
            self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            batch, length, _ = x.shape
            q, k, v = (y.view(batch, length, heads, width // heads).transpose(1, 2) for y in self.project(self.first(x)).split(width, 2))
            y = f.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, length, width)
            x = x + self.out(y)
            return x + self.down(f.gelu(self.up(self.second(x))))

    class Decoder(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(longest, width)
            self.blocks = nn.Sequential(*[Block() for _ in range(depth)])
            self.last, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

        def forward(self, tokens: Any) -> Any:
            return self.head(self.last(self.blocks(self.tokens(tokens) + self.places(t.arange(tokens.shape[1])))))
    return Decoder()


def resnet18(t: Any, classes: int = 1000) -> Any:
    """Residual network of eight basic blocks; He et al., 2015."""
    nn, f = t.nn, t.nn.functional

    class Block(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self, before: int, after: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.norm1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
            self.conv2, self.norm2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
            same = stride == 1 and before == after
            self.short = nn.Identity() if same else nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

        def forward(self, x: Any) -> Any:
            return f.relu(self.norm2(self.conv2(f.relu(self.norm1(self.conv1(x))))) + self.short(x))

    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    widths = ((64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1))
    return nn.Sequential(*stem, *[Block(*w) for w in widths], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))
