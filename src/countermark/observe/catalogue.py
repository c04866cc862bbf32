# SPDX-License-Identifier: Apache-2.0
"""Every number that an instance tells of itself: name, kind, meaning, labels.

Names follow Prometheus: base units, counters end in ``_total``. A label's values come from our
own code or configuration (endpoint templates, log names), never from a request: strangers must
not be able to make new series.
"""

from typing import Final, NamedTuple

PREFIX: Final = "countermark_"
COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WRITE_SECONDS: Final = (0.0001, 0.00025, 0.0005, *_SECONDS)
_SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)


class Family(NamedTuple):
    """Series that differ in their labels only.

    Attributes:
        name: without the common prefix.
        kind: ``counter``, ``gauge`` or ``histogram``.
        help: one sentence.
        labels: names of the labels.
        bounds: upper bounds of a histogram's buckets, ascending, without infinity.
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def slots(self) -> int:
        """How many numbers one series takes: a histogram has its buckets, infinity and sum."""
        return len(self.bounds) + 2 if self.kind == HISTOGRAM else 1


_HTTP_LABELS: Final = ("service", "endpoint", "method", "status")
HTTP_REQUESTS: Final = Family(
    "http_requests_total", COUNTER, "Requests that were answered.", _HTTP_LABELS
)
HTTP_DURATION: Final = Family(
    "http_request_duration_seconds",
    HISTOGRAM,
    "From the whole request to the whole reply written.",
    ("endpoint",),
    _SECONDS,
)
HTTP_REFUSED: Final = Family(
    "http_refused_total",
    COUNTER,
    "Answers because of a limit: 408 slow, 413 large, 414 target, 431 headers, 503 busy.",
    ("status",),
)
HTTP_ABANDONED: Final = Family(
    "http_abandoned_total", COUNTER, "Requests whose client went away before the reply."
)
HTTP_CONNECTIONS: Final = Family("http_connections", GAUGE, "Open connections.")
HTTP_UNREAD: Final = Family(
    "http_unread_reply_bytes", GAUGE, "Replies that wait for their clients to read them."
)
HTTP_HELD: Final = Family(
    "http_held_body_bytes", GAUGE, "Request bodies in memory that came in several pieces."
)

_LOG: Final = ("log",)
LOG_ENTRIES: Final = Family("log_entries_total", COUNTER, "Entries logged.", _LOG)
LOG_DUPLICATES: Final = Family(
    "log_duplicates_total", COUNTER, "Submissions of what the log held already.", _LOG
)
LOG_REFUSED: Final = Family(
    "log_refused_total", COUNTER, "Submissions that a round gave no place.", _LOG
)
LOG_PUSHBACKS: Final = Family(
    "log_pushbacks_total", COUNTER, "Submissions turned away because too much waited.", _LOG
)
LOG_ROUNDS: Final = Family("log_rounds_total", COUNTER, "Rounds carried out.", _LOG)
LOG_ROUND_SIZE: Final = Family(
    "log_round_size_entries", HISTOGRAM, "Submissions of one round.", _LOG, _SIZES
)
LOG_COMMIT: Final = Family(
    "log_commit_duration_seconds",
    HISTOGRAM,
    "The synced write that makes a round durable.",
    _LOG,
    _WRITE_SECONDS,
)
LOG_QUEUED: Final = Family("log_queued_entries", GAUGE, "Submissions that wait for a round.", _LOG)
LOG_TREE_SIZE: Final = Family("log_tree_size_entries", GAUGE, "The newest durable head.", _LOG)
LOG_PUBLISHED: Final = Family(
    "log_published_size_entries", GAUGE, "What lies in static files under a checkpoint.", _LOG
)
LOG_STAGED: Final = Family(
    "log_staged_rounds", GAUGE, "Rounds whose static copies are not written yet.", _LOG
)
LOG_UNPUBLISHED_SINCE: Final = Family(
    "log_unpublished_since_seconds", GAUGE, "Unix time of the oldest of these, or 0.", _LOG
)
LOG_LAG: Final = Family(
    "log_publication_lag_seconds", GAUGE, "Age of the oldest round not published, or 0.", _LOG
)
LOG_PUBLICATION_FAILURES: Final = Family(
    "log_publication_failures_total", COUNTER, "Publications that failed, to be tried again.", _LOG
)

CERTIFICATES: Final = Family("certificates_issued_total", COUNTER, "Certificates issued.")
TIMESTAMPS: Final = Family("timestamps_issued_total", COUNTER, "Timestamps issued.")
TOKENS_REFUSED: Final = Family(
    "tokens_refused_total", COUNTER, "Identity tokens that the CA did not take.", ("reason",)
)
TUF_EXPIRY: Final = Family(
    "tuf_expiry_timestamp_seconds", GAUGE, "When a role's TUF metadata expires.", ("role",)
)
CERTIFICATE_EXPIRY: Final = Family(
    "certificate_expiry_timestamp_seconds",
    GAUGE,
    "When an authority's certificate expires; position 0 is the one that signs.",
    ("chain", "position"),
)

_PROCESS: Final = ("process",)
PROCESS_UP: Final = Family("process_up", GAUGE, "Whether the process runs.", _PROCESS)
PROCESS_RESTARTS: Final = Family(
    "process_restarts_total", COUNTER, "How often the process was started again.", _PROCESS
)
PROCESS_START: Final = Family(
    "process_start_time_seconds", GAUGE, "Unix time of the process's start.", _PROCESS
)
PROCESS_CPU: Final = Family(
    "process_cpu_seconds_total", COUNTER, "User and system time of the process.", _PROCESS
)
PROCESS_MEMORY: Final = Family(
    "process_resident_memory_bytes", GAUGE, "Memory of the process, shared pages too.", _PROCESS
)
PROCESS_FILES: Final = Family(
    "process_open_files", GAUGE, "Descriptors that the process has open.", _PROCESS
)
DATA_FREE: Final = Family(
    "data_free_bytes", GAUGE, "Room left on the file system of the data directory."
)
BUILD: Final = Family("build_info", GAUGE, "Always 1.", ("version", "python"))

INTERNAL: Final = frozenset((LOG_UNPUBLISHED_SINCE.name,))
"""What is only there to compute something else from."""

FAMILIES: Final[dict[str, Family]] = {
    value.name: value for value in list(globals().values()) if isinstance(value, Family)
}
