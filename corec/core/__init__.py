"""What the original keeps here: the Celery application."""
