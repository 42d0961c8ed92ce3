"""Making evidence packages: what is asked for, the proofs, the archive, and the verifier inside it.

Reading them is `audit.evidence`, which also says what a package consists of (`evidence.package`).
"""
