"""Errors that are the user's to mend: one line each, with an exit code by class."""


class T2TError(Exception):
    """A mistake that the message alone explains; the command line prints it without a traceback."""

    exit_code = 1


class ConfigError(T2TError):
    """A parameter is unknown, of the wrong type or out of range."""

    exit_code = 2


class DataError(T2TError):
    """A data set, image or shard is missing, damaged or not what its manifest says."""

    exit_code = 3


class EnvironmentProblem(T2TError):
    """The machine lacks something: a library, a device, disk space."""

    exit_code = 4


class CheckpointError(T2TError):
    """A checkpoint is damaged or belongs to another run."""

    exit_code = 5


class Diverged(T2TError):
    """The loss of a training run is not a number any more."""

    exit_code = 6


class Preempted(T2TError):
    """Training was asked to stop, saved its state and can be resumed."""

    exit_code = 75
