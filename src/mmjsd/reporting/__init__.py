"""Tables and figures that compare the runs."""
