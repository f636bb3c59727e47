"""``python -m mmjsd``, the same as ``mmjsd``."""

import sys

from mmjsd.cli import main

sys.exit(main())
