"""For the fork server to import: what libraries would otherwise work out anew in every kernel."""

from transformers.conversion_mapping import get_checkpoint_conversion_mapping

get_checkpoint_conversion_mapping("bert")  # the first call compiles a thousand regular expressions
