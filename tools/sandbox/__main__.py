"""`python -m tools.sandbox`: started by the service, of no use by hand."""

from tools.sandbox.server import main

if __name__ == "__main__":
    main()
