"""`torsh.utils`: tools around training."""
from torsh.utils import data as data
