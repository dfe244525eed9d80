"""What is wrong with a request; each becomes a page that says so."""


class RequestError(Exception):
    """A request that is not answered; the message is one sentence for the person at the browser."""

    status = 400
    title = "This address cannot be read"


class BadRequestError(RequestError):
    """A parameter of the address is wrong; the message names it."""


class NotFoundError(RequestError):
    """What the address names is not there."""

    status = 404
    title = "There is no such thing here"


class ForbiddenError(RequestError):
    """What the request wants to do is not allowed."""

    status = 403
    title = "This is not allowed"


class NotInstalledError(RequestError):
    """A package that the request needs is not there."""

    status = 501
    title = "Something is not installed"
