"""State spaces."""

SHORT = "ssm"
PLAINEST = "s4"
