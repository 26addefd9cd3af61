"""`python -m qloader` is `qloader`."""

from qloader.cli import main

if __name__ == "__main__":
    main()
