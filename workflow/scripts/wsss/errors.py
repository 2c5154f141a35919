"""The one exception a user is meant to read."""


class UserError(Exception):
    """Something the user can mend: the message names the file or key, what is wrong, and what to do.

    Entry scripts print it as plain text without a traceback and end with exit status 1.
    """
