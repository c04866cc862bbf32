# SPDX-License-Identifier: Apache-2.0
"""`python -m countermark` is the `countermark` command."""

import sys

from countermark.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
