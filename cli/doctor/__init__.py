"""`darkroom doctor`: checks the settings, Celery's options and the servers of a deployment.

`command` is its entry point. It asks `servers`, checks `setting_rules`, `celery_rules` and
`server_rules`, and `report` prints what they found.
"""
