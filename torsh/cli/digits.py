"""`torsh train digits`: a small convolutional network on scikit-learn's handwritten digits."""
from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import torsh
from torsh import nn
from torsh.data import DataLoader, Subset, TensorDataset, random_split
from torsh.nn import functional as F
from torsh.optim import Adam
from torsh.serialize import save_file


def network() -> nn.Module:
    """[n, 1, 8, 8] images to [n, 10] logits."""
    made: nn.Module = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 10))
    return made


def load() -> TensorDataset:
    """1,797 images [1, 8, 8] in [0, 1] with their digits. Raises ImportError without scikit-learn."""
    from sklearn.datasets import load_digits
    images, labels = load_digits(return_X_y=True)
    return TensorDataset(torsh.tensor((images / 16).astype(np.float32).reshape(-1, 1, 8, 8)),  # type: ignore[operator]
                         torsh.tensor(labels.astype(np.int64)))  # type: ignore[operator]


def _rows(part: Subset[Any]) -> TensorDataset:
    return TensorDataset(*[torsh.tensor(t.numpy()[part.indices]) for t in part.dataset.tensors])  # type: ignore[attr-defined,operator]


def accuracy(model: nn.Module, data: TensorDataset) -> float:
    """The share of images whose largest logit is their digit's."""
    model.eval()
    with torsh.no_grad():
        images, labels = data.tensors
        right = (model(images).argmax(1) == labels).sum().item()
    model.train()
    return right / len(data)  # type: ignore[no-any-return]


def train(epochs: int, batch_size: int, lr: float, seed: int, out: Path) -> dict[str, Any]:
    """Train, print the test accuracy and images/s, and write digits.safetensors, digits.json and digits.png into `out`.

    Returns what the log holds. Raises ImportError when scikit-learn, matplotlib or rich is missing.
    """
    import matplotlib
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    matplotlib.use("Agg")
    torsh.manual_seed(seed)
    whole = load()
    held_out = len(whole) // 5
    trained, tested = (_rows(part) for part in random_split(whole, [len(whole) - held_out, held_out]))
    loader = DataLoader(trained, batch_size, shuffle=True, drop_last=True)
    if len(loader) == 0:
        raise ValueError(f"batch_size={batch_size} is larger than the {len(trained)} training images")
    model = network()
    optimizer = Adam(model.parameters(), lr=lr)
    console = Console()
    losses: list[float] = []
    accuracies: list[float] = []
    seconds: list[float] = []
    columns = (TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[state]}"))
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("train", total=epochs * len(loader), epoch=1, state="")
        for epoch in range(1, epochs + 1):
            total, start = 0.0, time.perf_counter()
            for images, labels in loader:
                loss = F.cross_entropy(model(images), labels)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[attr-defined]
                optimizer.step()
                total += loss.item()
                progress.update(bar, advance=1, epoch=epoch)
            seconds.append(time.perf_counter() - start)
            losses.append(total / len(loader))
            accuracies.append(accuracy(model, tested))
            progress.update(bar, state=f"loss {losses[-1]:.4f}, test accuracy {accuracies[-1]:.2%}")
    rate = len(loader) * batch_size / min(seconds)
    console.print(f"Test accuracy {accuracies[-1]:.2%} on {len(tested)} held-out images; {rate:,.0f} images/s in the fastest epoch")
    log = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "seed": seed, "train_images": len(trained), "test_images": len(tested),
           "loss": losses, "test_accuracy": accuracies, "seconds": seconds, "images_per_second": rate}
    out.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), out / "digits.safetensors", {"model": "torsh.cli.digits.network", "seed": str(seed)})
    (out / "digits.json").write_text(json.dumps(log, indent=2) + "\n")
    _curves(losses, accuracies, out / "digits.png")
    console.print(f"Wrote digits.safetensors, digits.json and digits.png to {out}")
    return log


def _curves(losses: list[float], accuracies: list[float], path: Path) -> None:
    from matplotlib.figure import Figure
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = range(1, len(losses) + 1)
    left.plot(steps, losses, marker="o", color="tab:blue")
    left.set(xlabel="epoch", ylabel="cross-entropy", title="Training loss", yscale="log")
    right.plot(steps, [100 * a for a in accuracies], marker="o", color="tab:orange")
    right.set(xlabel="epoch", ylabel="%", title=f"Test accuracy: {accuracies[-1]:.2%}")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.savefig(path, dpi=150)
