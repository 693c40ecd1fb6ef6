"""The one exception that is meant for users."""

__all__ = ["UserError"]


class UserError(ValueError):
    """A mistake that the user can mend: its message names the value, the place and the mend.

    The command line prints it as one paragraph without a traceback and exits with status 2.
    """
