"""What Prometheus reads: numbers of all jobs from PostgreSQL, as text over HTTP."""
