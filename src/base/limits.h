/* limits.h - every ceiling in the program, with its reason. No buffer, queue or wait exists without one of these. */
#pragma once

/* Bytes from outside (RELIABILITY 3.4; DESIGN 8). */
#define LIMIT_HEADER_BYTES (12 * 1024)          /* request line and headers together; fits the 16 KiB connection pool */
#define LIMIT_HEADER_COUNT 100
#define LIMIT_URL_BYTES (8 * 1024)
#define LIMIT_JSON_BYTES (2 * 1024 * 1024)      /* a 1 MiB text, escaped, and its envelope */
#define LIMIT_BATCH_BYTES (4 * 1024 * 1024)     /* 1,000 messages in one request */
#define LIMIT_WEBHOOK_BYTES (4 * 1024 * 1024)   /* providers send up to 3 MB */
#define LIMIT_JSON_DEPTH 32
#define LIMIT_JSON_KEYS 1000                    /* per object */
#define LIMIT_JSON_NODES 200000                 /* per document: bounds the tree, not only the bytes */
#define LIMIT_JSON_NUMBER_CHARS 64
#define LIMIT_TEXT_BYTES (1024 * 1024)          /* one message text */
#define LIMIT_METADATA_BYTES (16 * 1024)        /* free `metadata` object, serialised */
#define LIMIT_NAME_BYTES 200                    /* names people give to things */
#define LIMIT_ADDRESS_BYTES 320                 /* the longest e-mail address */
#define LIMIT_EXTERNAL_ID_BYTES 512             /* provider ids; WhatsApp's pass 100 */
#define LIMIT_IDEMPOTENCY_KEY_BYTES 255
#define LIMIT_TAG_BYTES 64
#define LIMIT_TAGS_PER_MESSAGE 32
#define LIMIT_SETTINGS_BYTES (32 * 1024)
#define LIMIT_HINT_BYTES 300
#define LIMIT_DETAIL_BYTES 400

/* Counts in one call. */
#define LIMIT_BATCH_MESSAGES 1000
#define LIMIT_PAGE_MAX 500
#define LIMIT_FIELD_ITEMS 1000                  /* elements of a list field whose row names no maximum */
#define LIMIT_PAGE_DEFAULT 50
#define LIMIT_WEBHOOK_EVENTS 1000               /* events one webhook may turn into */
#define LIMIT_RULES_PER_TENANT 500
#define LIMIT_RULE_WORDS 64
#define LIMIT_ATTACHMENTS 20                    /* of one message */
#define LIMIT_PARTS_PER_MESSAGE 100             /* parts a long text is split into */
#define LIMIT_SEGMENTS_PER_PART 255             /* an SMS numbers its segments in one byte */
#define LIMIT_ALIAS_CHANNELS 200                /* of one kind that are asked whose a request to a shared path is */
#define LIMIT_FORWARD_HOPS 3                    /* loop guard of forwarding rules */
#define LIMIT_AUTO_TURNS 10                     /* machine answers in a row without a person */

/* Memory and queues. */
#define LIMIT_ANSWER_BYTES (16 * 1024 * 1024)   /* one response body: a page of 500 long messages */
#define LIMIT_CONNECTION_POOL_BYTES (16 * 1024) /* per HTTP connection, before authentication */
#define LIMIT_BODIES_BYTES (256 * 1024 * 1024)  /* bodies over 16 KiB of all requests in flight; more answer 503 */
#define LIMIT_CONNECTIONS 20000
#define LIMIT_CONNECTIONS_PER_ADDRESS 10000     /* lowered by configuration where a proxy is not in front */
#define LIMIT_WS_FRAME_BYTES (64 * 1024)
#define LIMIT_WS_MESSAGE_BYTES (1024 * 1024)
#define LIMIT_WS_QUEUE_BYTES (256 * 1024)       /* unsent frames per client, then "resync" and close */
#define LIMIT_STREAMS 20000
#define LIMIT_GROUP_ROWS 1000                   /* writes that share one commit */
#define LIMIT_WRITE_QUEUE 4096                  /* writes waiting for a group; more answer 503 */
#define LIMIT_WORK_QUEUE 4096                   /* requests waiting for a worker; more answer 503 */
#define LIMIT_SEND_WORKERS 1024                 /* blocking senders, as configured; a channel has an eighth of them */
#define LIMIT_SEND_WORKERS_DEFAULT 64
#define LIMIT_POLLED 1000                       /* channels that are polled, a thread each */
#define LIMIT_EXCHANGE_BYTES (1024 * 1024)      /* what is read of a provider's answer */
#define LIMIT_MEDIA_BYTES (25 * 1024 * 1024)    /* one attachment; mail servers refuse more */
#define LIMIT_KEPT_STREAMS 4096                 /* mail sessions, child processes between two calls; more are closed */
#define LIMIT_STREAM_BYTES (64 * 1024)          /* read of a stream ahead of what was asked for */
#define LIMIT_ARGUMENTS 64                      /* of a child process, and names in its environment */
#define LIMIT_UPLOAD_BYTES (LIMIT_MEDIA_BYTES + 64 * 1024)  /* with what a form puts around it */
#define LIMIT_UPLOADS_BYTES (128 * 1024 * 1024) /* bodies in flight of routes that take files; more answer 503 */
#define LIMIT_MEDIA_HELD_BYTES (128 * 1024 * 1024)  /* files in memory while they are sent, fetched or copied */
#define LIMIT_MEDIA_WAIT_MS 20000               /* for room under that ceiling */
#define LIMIT_MEDIA_UNUSED_MS (24 * 3600000LL)  /* a file that no message has is kept so long */
#define LIMIT_LINK_MS 3600000LL                 /* a public link to a file is valid so long */
#define LIMIT_FETCHES 4                         /* files being fetched at once */
#define LIMIT_FETCH_MS (6 * 3600000LL)          /* then a file that cannot be fetched is given up */
#define LIMIT_FETCH_HOPS 3                      /* redirects followed from a public URL */
#define LIMIT_MAIL_BYTES (40 * 1024 * 1024)     /* one mail: an attachment in base64 and the rest */
#define LIMIT_LOG_LINE_BYTES 4096               /* also what a pipe takes at once */
#define LIMIT_LOG_VALUE_BYTES 1024              /* one field of a line; longer ones are cut */
#define LIMIT_LOG_RING_BYTES (1024 * 1024)      /* lines waiting for a slow reader; more are counted and dropped */
#define LIMIT_WAL_BYTES (64 * 1024 * 1024)      /* then the writer forces a checkpoint restart */
#define LIMIT_CHECKPOINT_BYTES (8 * 1024 * 1024) /* of new log, then it is copied back in the background */
#define LIMIT_STATEMENTS 256                    /* prepared statements kept per database session */
#define LIMIT_SQL_VALUES 128                    /* parameters of one statement, columns of one row set */
#define LIMIT_SQL_BYTES (64 * 1024)             /* one statement's text */
#define LIMIT_SET_BYTES (256 * 1024 * 1024)     /* one row set as arrays (PostgreSQL) */

/* Time. */
#define LIMIT_HEADER_MS 10000                   /* slow header block */
#define LIMIT_BODY_BYTES_PER_S 1024             /* slower bodies are cut */
#define LIMIT_IDLE_MS 60000                     /* keep-alive */
#define LIMIT_SHUTDOWN_MS 20000
#define LIMIT_LOG_STOP_MS 2000                  /* for the last lines to a reader that does not read */
#define LIMIT_LEASE_MS 30000
#define LIMIT_HEARTBEAT_MS 10000
#define LIMIT_SEND_MS 35000                     /* one provider exchange */
#define LIMIT_SEND_LONG_MS (25 * 60 * 1000)     /* ... where a channel says so: a Mac uploads a file */
#define LIMIT_CONNECT_MS 5000
#define LIMIT_CHILD_STOP_MS 2000                /* between SIGTERM and SIGKILL of a child process */
#define LIMIT_POLL_MS 30000                     /* safety net behind notifications */
#define LIMIT_SIGNATURE_AGE_S 300               /* replay window of signed webhooks */
#define LIMIT_COMMIT_TRACE_MS 50                /* slower commits are logged */
#define LIMIT_STATEMENT_MS 30000                /* one statement on PostgreSQL; a silent server is left 5 s later. The
                                                 * whole of one read on SQLite */
#define LIMIT_MIGRATE_MS (15 * 60 * 1000)       /* one statement of a migration */
#define LIMIT_REPEAT_MS 15000                   /* a transaction is not begun again later than this after its start */
#define LIMIT_REPEATS 12                        /* and not more often than this */

/* Decision debounce (X20). */
#define LIMIT_DEBOUNCE_MS 2000
#define LIMIT_DEBOUNCE_MAX_MS 10000
#define LIMIT_DEBOUNCE_MESSAGES 20

/* Retries. */
#define LIMIT_SEND_ATTEMPTS 3
#define LIMIT_RETRY_AFTER_S 86400               /* a longer Retry-After of a peer is cut to a day */
#define LIMIT_DECIDE_ATTEMPTS 5
