"""Providers: what each declares, and how it makes images. `registry` lists them."""
