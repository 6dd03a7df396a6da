"""Lets `python -m zmax` do what the command `zmax` does."""

from zmax.cli import main

if __name__ == "__main__":
    main()
