"""`python -m lockgate`: the same as the `lockgate` command."""

from lockgate.cli.main import main

if __name__ == "__main__":
    main()
