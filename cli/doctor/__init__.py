"""The rules by which settings, code, docker-compose.yml and template.yaml agree, and their check.

`darkroom doctor` prints them; tests/architecture/test_agreement.py holds the project to them.
"""
