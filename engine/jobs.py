"""Dataset jobs from the supervisor's side."""
