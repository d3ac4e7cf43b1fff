"""Errors a user can mend."""


class UserError(Exception):
    """A mistake or a condition the user can mend.

    The message says what was expected, what was found and how to mend it; commands print it without a traceback.
    Subclass it together with the fitting built-in (`class ContractError(UserError, ValueError)`).
    """
