"""The tables: pictures, what they came from, jobs, settings, shelf, adapters. SQLite and PostgreSQL hold the same."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

HEAD = "0002"  # the revision that this code expects; a test holds it to the last of `migrations`
OWNER, KEY = String(80), String(32)

metadata = MetaData()

pictures = Table(
    "pictures",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("owner", OWNER, nullable=False),
    Column("file", String(255), nullable=False, unique=True),  # below the folder of pictures
    Column("digest", String(64), nullable=False),  # sha256 of the file
    Column("pixels", KEY),  # the name that the shelf gives to these pixels; by it others name this picture
    Column("look", BigInteger),  # perceptual hash, 64 bits
    Column("bytes", BigInteger, nullable=False),
    Column("made", Float, nullable=False),  # seconds since 1970
    Column("task", String(80), nullable=False),
    Column("model", String(200), nullable=False),
    Column("prompt", Text, nullable=False),
    Column("words", Text, nullable=False),  # what is searched: the prompts, case folded
    Column("seed", BigInteger),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("request", Text, nullable=False),  # JSON
    Column("origin", Text, nullable=False),  # JSON: version, weights, device
    Column("seconds", Float),
    Column("job", KEY, nullable=False),
    Column("favourite", Boolean, nullable=False),
    Column("binned", Float),  # when it was put into the bin
    Index("pictures_by_time", "owner", "binned", "made"),  # what is counted or filtered reads no whole rows
    Index("pictures_by_favour", "owner", "favourite", "made"),
    Index("pictures_by_task", "owner", "task", "made"),
    Index("pictures_by_model", "owner", "model", "made"),
    Index("pictures_by_bytes", "bytes"),
    Index("pictures_by_look", "owner", "look"),
    Index("pictures_by_pixels", "pixels"),
    Index("pictures_by_job", "job"),
)

parents = Table(
    "parents",
    metadata,
    Column("child", KEY, nullable=False),
    Column("role", String(40), nullable=False),  # the field of the request: source, mask ...
    Column("name", KEY, nullable=False),  # pixels of the parent
    PrimaryKeyConstraint("child", "role", "name"),
    Index("parents_by_name", "name"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("owner", OWNER, nullable=False),
    Column("request", Text, nullable=False),
    Column("state", String(12), nullable=False),  # waiting, running or broken; what ended well is no row any more
    Column("place", Float, nullable=False),  # the lowest is next
    Column("created", Float, nullable=False),
    Column("keeper", KEY, nullable=False),  # the process whose job it is
    Column("said", Text),  # why it broke; empty where somebody stopped it
    Index("jobs_by_state", "state", "place"),
)

settings = Table(
    "settings",
    metadata,
    Column("owner", OWNER, nullable=False),
    Column("name", String(80), nullable=False),
    Column("content", Text, nullable=False),
    Column("changed", Float, nullable=False),
    PrimaryKeyConstraint("owner", "name"),
)

shelf = Table(
    "shelf",
    metadata,
    Column("owner", OWNER, nullable=False),
    Column("name", KEY, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("put", Float, nullable=False),
    PrimaryKeyConstraint("owner", "name"),
)

adapters = Table(
    "adapters",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("owner", OWNER, nullable=False),
    Column("name", String(80), nullable=False),
    Column("file", String(255), nullable=False),  # below the folder of adapters
    Column("base", String(200), nullable=False),  # the model it was taught to
    Column("made", Float, nullable=False),
    Column("request", Text, nullable=False),  # JSON: how it was taught
    Index("adapters_by_owner", "owner", "name", unique=True),
)
