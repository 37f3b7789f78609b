"""Makes the workflows known to the database."""

import os

import psycopg
from workflows import NAMES

with psycopg.connect(os.environ["DATABASE_URI"].replace("+psycopg", "")) as connection:
    for name in NAMES:
        connection.execute(
            "insert into workflows (name, target, is_task, description) values (%s, 'SYSTEM', false, %s)",
            (name, name),
        )
