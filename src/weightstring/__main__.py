"""``python -m weightstring``: the command line, where no script of that name is on the path."""

from weightstring.cli import main

if __name__ == "__main__":
    main()
