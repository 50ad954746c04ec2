"""`torsh.utils`: tools around training."""
