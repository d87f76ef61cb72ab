"""The one exception that means: the input is wrong, and this is what to do about it."""


class UserError(Exception):
    """Bad input, a missing object or an impossible combination.

    The message is one sentence that names what is wrong and what to do. The command line prints
    it as ``error: …`` and exits with code 2.
    """
