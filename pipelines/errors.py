"""The errors a person may read. Anything else that is raised is a bug."""


class StudioError(Exception):
    """One clear sentence for the person at the page."""


class UnknownName(StudioError):
    """A name that no registry knows; the sentence offers the nearest."""


class BadRequest(StudioError):
    """A field of a request holds what the studio cannot use; the sentence names the field."""


class BadPicture(StudioError):
    """A file that is not a picture the studio will open."""


class BadCheckpoint(StudioError):
    """A folder or file of weights that is missing, damaged or of another family."""


class DoesNotFit(StudioError):
    """A model that cannot be held within the memory budget."""


class Busy(StudioError):
    """The queue is full."""


class Stopped(Exception):
    """Raised within the networks of a job that was stopped; a task that keeps its best so far catches it."""
