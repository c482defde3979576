"""For the fork server to import: what libraries would otherwise work out anew in every kernel."""

import sys

import landlockpy
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

landlockpy.abi_version()  # the first call looks for the C library, with a process of its own
get_checkpoint_conversion_mapping("bert")  # the first call compiles a thousand regular expressions
sys.path_importer_cache.clear()  # a kernel clears it, which takes long where it is full
