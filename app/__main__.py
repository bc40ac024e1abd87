"""`python -m app` is the command `secondlook`."""

from app.cli import main

main()
