-- CoreVital's store, version 1: OpenTelemetry spans as they were exported, and one narrow row per judged run.
--
-- Works on SQLite 3.31 and later: no STRICT (3.37), no ->> (3.38), no JSONB (3.45).
-- Ids are lowercase hexadecimal text, as every other tool prints them, so that a person can join by eye and by SQL.
-- Times are Unix nanoseconds (int64 holds them until 2262). Attributes are one JSON object per row; a number that is
-- not finite never gets here, since JSON has none.

CREATE TABLE resources (
  id INTEGER PRIMARY KEY,
  digest TEXT NOT NULL UNIQUE,          -- SHA-256 of attributes and schema_url: one row per process, not per span
  service_name TEXT NOT NULL DEFAULT '',
  attributes TEXT NOT NULL CHECK (json_valid(attributes)),
  schema_url TEXT NOT NULL DEFAULT ''
);

CREATE TABLE scopes (
  id INTEGER PRIMARY KEY,
  digest TEXT NOT NULL UNIQUE,          -- SHA-256 of all that follows
  name TEXT NOT NULL,
  version TEXT NOT NULL DEFAULT '',
  attributes TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(attributes)),
  schema_url TEXT NOT NULL DEFAULT ''
);

CREATE TABLE spans (
  trace_id TEXT NOT NULL CHECK (length(trace_id) = 32),
  span_id TEXT NOT NULL CHECK (length(span_id) = 16),
  parent_span_id TEXT,                  -- no foreign key: a parent is exported after its children, or elsewhere
  trace_state TEXT NOT NULL DEFAULT '',
  resource_id INTEGER NOT NULL REFERENCES resources (id),
  scope_id INTEGER NOT NULL REFERENCES scopes (id),
  name TEXT NOT NULL,
  kind INTEGER NOT NULL,                -- as in OTLP: 1 internal, 2 server, 3 client, 4 producer, 5 consumer
  start_ns INTEGER NOT NULL,
  end_ns INTEGER NOT NULL,
  status_code INTEGER NOT NULL DEFAULT 0,  -- as in OTLP: 0 unset, 1 ok, 2 error
  status_message TEXT NOT NULL DEFAULT '',
  attributes TEXT NOT NULL CHECK (json_valid(attributes)),
  dropped_attributes INTEGER NOT NULL DEFAULT 0,
  dropped_events INTEGER NOT NULL DEFAULT 0,
  dropped_links INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (trace_id, span_id)       -- what makes a second delivery of a span replace the first
) WITHOUT ROWID;

CREATE INDEX spans_start ON spans (start_ns);

CREATE TABLE span_events (
  trace_id TEXT NOT NULL,
  span_id TEXT NOT NULL,
  seq INTEGER NOT NULL,                 -- position in the span: times need not differ
  time_ns INTEGER NOT NULL,
  name TEXT NOT NULL,
  attributes TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(attributes)),
  PRIMARY KEY (trace_id, span_id, seq),
  FOREIGN KEY (trace_id, span_id) REFERENCES spans (trace_id, span_id) ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE span_links (
  trace_id TEXT NOT NULL,
  span_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  linked_trace_id TEXT NOT NULL,
  linked_span_id TEXT NOT NULL,
  trace_state TEXT NOT NULL DEFAULT '',
  attributes TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(attributes)),
  PRIMARY KEY (trace_id, span_id, seq),
  FOREIGN KEY (trace_id, span_id) REFERENCES spans (trace_id, span_id) ON DELETE CASCADE
) WITHOUT ROWID;

-- One row per generated sequence: what people filter and sort by, as real columns, so that no list parses JSON.
-- NULL means that it was not measured or not judged, never "no".
CREATE TABLE runs (
  trace_id TEXT NOT NULL,
  span_id TEXT NOT NULL,
  sequence_index INTEGER NOT NULL DEFAULT 0,  -- row in the call's result; 0 where the call had one sequence
  start_ns INTEGER NOT NULL,
  end_ns INTEGER NOT NULL,
  service_name TEXT NOT NULL DEFAULT '',  -- copied from the resource: lists need no join
  model TEXT,
  operation TEXT,                       -- NULL for one of several sequences: the call's span has it
  strategy TEXT,
  risk_score REAL,
  risk_level TEXT,
  nan_detected INTEGER,
  inf_detected INTEGER,
  repetition_loop_detected INTEGER,
  high_entropy_steps INTEGER,
  failure_risk REAL,
  warnings TEXT NOT NULL DEFAULT '[]',  -- a JSON list of names
  prompt_hash TEXT,
  prompt_hash_source TEXT,
  input_tokens INTEGER,
  output_tokens INTEGER,
  finish_reason TEXT,
  error_type TEXT,
  narrative TEXT,
  PRIMARY KEY (trace_id, span_id),      -- every sequence has a span of its own
  FOREIGN KEY (trace_id, span_id) REFERENCES spans (trace_id, span_id) ON DELETE CASCADE
) WITHOUT ROWID;

CREATE INDEX runs_start ON runs (start_ns);
CREATE INDEX runs_model ON runs (model, start_ns);
CREATE INDEX runs_level ON runs (risk_level, start_ns) WHERE risk_level IS NOT NULL;
CREATE INDEX runs_risk ON runs (risk_score, start_ns) WHERE risk_score IS NOT NULL;
CREATE INDEX runs_prompt ON runs (prompt_hash, start_ns) WHERE prompt_hash IS NOT NULL;
