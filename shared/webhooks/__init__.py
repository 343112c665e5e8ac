"""Webhooks by Standard Webhooks 1.0.0: who wants to learn of which events, and the deliveries."""
