# The real PgBouncer, from Debian's archive.
FROM python:3.13-slim
RUN apt-get update && apt-get install --yes --no-install-recommends pgbouncer
USER nobody
CMD ["sh", "-c", "echo \"$INI\" > /tmp/pgbouncer.ini && exec pgbouncer /tmp/pgbouncer.ini"]
