"""What third parties provide behind the ports of `shared`: queues and image stores.

`shared.wiring` imports the one that the settings select, when it is first needed.
"""
