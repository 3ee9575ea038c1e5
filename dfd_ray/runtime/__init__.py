"""How the jobs use Ray: the session, resumable tables, progress, telemetry and trackers."""
