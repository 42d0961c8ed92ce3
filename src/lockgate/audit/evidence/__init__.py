"""What a verifier needs, and nothing else: the standard library, Python 3.8 or later, no other part of Lockgate.

The gateway uses these modules as well, so that there is one reading of every format. They become the
stand-alone verifier by being put into one file, which is why no two of them use the same name at module level.
"""
