"""Mine translations from two files of lines: texts → vectors on disk → neighbours → pairs.

Every step leaves files in a state folder that stand whole or not at all, so that a run that was
killed goes on where it was, with the same result. docs/mining.md has the folder and the file.
"""

from service.alignment.mining.output import FORMATS
from service.alignment.mining.run import Job, Mined, mine
from service.alignment.mining.state import Report, Stage

__all__ = ["FORMATS", "Job", "Mined", "Report", "Stage", "mine"]
