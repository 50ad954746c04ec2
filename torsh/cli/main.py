"""The `torsh` command: `torsh show`, `torsh cache` and `torsh train digits`."""
import sys
from pathlib import Path
from typing import Annotated, Any


def _missing(error: ImportError, extra: str) -> int:
    print(f"torsh: this command needs the package '{error.name}'. Install it with: pip install 'torsh-ml[{extra}]'", file=sys.stderr)
    return 1


def build() -> Any:
    """The command-line application. Raises ImportError without typer and rich."""
    import rich  # noqa: F401  so that its absence is told here
    import typer

    app = typer.Typer(help="ToRSh: PyTorch's API on a lazy, compiling engine.", no_args_is_help=True, add_completion=False)
    train = typer.Typer(help="Train a model that comes with the package.", no_args_is_help=True)
    app.add_typer(train, name="train")
    cache = typer.Typer(help="Compiled kernels on disk.", no_args_is_help=True)
    app.add_typer(cache, name="cache")

    @cache.command("show")
    def cache_show() -> None:
        """Where they are and how much room they take."""
        from torsh.cli.cache import show as run
        run()

    @cache.command("clear")
    def cache_clear() -> None:
        """Remove them all; they are compiled again when needed."""
        from torsh.cli.cache import clear as run
        run()

    @app.command()
    def show() -> None:
        """Versions, devices, threads, how the core runs, and the kernel cache."""
        from torsh.cli.show import show as run
        run()

    @train.command()
    def digits(
        epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 15,
        batch_size: Annotated[int, typer.Option(min=2, help="Images in a step.")] = 64,
        lr: Annotated[float, typer.Option(min=0.0, help="Learning rate of Adam.")] = 2e-3,
        seed: Annotated[int, typer.Option(help="Seed of weights, split and order.")] = 0,
        out: Annotated[Path, typer.Option(help="Folder for checkpoint, log and curves.")] = Path("digits"),
    ) -> None:
        """A small convolutional network on scikit-learn's 1,797 handwritten digits."""
        try:
            from torsh.cli.digits import train as run
            run(epochs, batch_size, lr, seed, out)
        except ModuleNotFoundError as error:
            raise typer.Exit(_missing(error, "train")) from None

    @train.callback()
    def models() -> None:
        """Train a model that comes with the package."""

    return app


def main() -> None:
    """Entry point of the `torsh` command; exits with 1 and a hint when an optional package is missing."""
    try:
        app = build()
    except ModuleNotFoundError as error:
        sys.exit(_missing(error, "cli"))
    app()


if __name__ == "__main__":
    main()
