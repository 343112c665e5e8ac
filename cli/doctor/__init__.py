"""`darkroom doctor`: checks the settings, Celery's options and the servers of a deployment.

`command` is its entry point. `facts` gathers what the rules look at; `setting_rules`,
`celery_rules` and `server_rules` hold the rules, and `report` prints what they found.
"""
