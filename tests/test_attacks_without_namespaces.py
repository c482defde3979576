"""Attacks where the system gives no namespaces: each that these might stop alone, and a tenth of the others."""

import test_attacks
from test_attacks import *  # noqa: F403
from test_attacks import course, pytest_generate_tests, pytestmark  # noqa: F401

KINDS = ("hold-up", "end-oneself", "say-", "mute-", "flood-", "talk-", "look-", "make-", "use-", "disk-")
SETTINGS = test_attacks.SETTINGS + "c.WarmProvisioner.namespaces = False\n"
NEED_THEM = ("disk-in-flight", "search-own-proc")  # docs/sandbox.md says so
ATTACKS = {
    name: text
    for number, (name, text) in enumerate(test_attacks.ATTACKS.items())
    if (name.startswith(KINDS) or number % 10 == 0) and name not in NEED_THEM
}
