"""Public-key infrastructure: names, keys, certificates, and the authority that issues them.

The pure core knows nothing of files; `Store` keeps an authority in a workspace, and `openssl` asks the command of
that name for its opinion.
"""

from labkit.pki.authority import Authority, Issued
from labkit.pki.csr import Request, make_request, read_request
from labkit.pki.describe import Branch, Description, describe, describe_tree
from labkit.pki.file_ledger import FileLedger
from labkit.pki.identities import IdentityFiles
from labkit.pki.keys import Key
from labkit.pki.ledger import Entry, Ledger, MemoryLedger
from labkit.pki.operators import Operators
from labkit.pki.profiles import DEVICE, INTERMEDIATE, OPERATOR, ROOT, SERVER, Profile
from labkit.pki.register import Register
from labkit.pki.revocation import (
    Reason,
    Revocation,
    RevocationList,
    Schedule,
    State,
    changes,
    issue_list,
    look_up,
    read_list,
    verify_list,
)
from labkit.pki.rollover import Rollover, replace_intermediate
from labkit.pki.store import Names, Store, new_passphrase
from labkit.pki.verify import verify_chain

__all__ = [
    "DEVICE",
    "INTERMEDIATE",
    "OPERATOR",
    "ROOT",
    "SERVER",
    "Authority",
    "Branch",
    "Description",
    "Entry",
    "FileLedger",
    "IdentityFiles",
    "Issued",
    "Key",
    "Ledger",
    "MemoryLedger",
    "Names",
    "Operators",
    "Profile",
    "Reason",
    "Register",
    "Request",
    "Revocation",
    "RevocationList",
    "Rollover",
    "Schedule",
    "State",
    "Store",
    "changes",
    "describe",
    "describe_tree",
    "issue_list",
    "look_up",
    "make_request",
    "new_passphrase",
    "read_list",
    "read_request",
    "replace_intermediate",
    "verify_chain",
    "verify_list",
]
