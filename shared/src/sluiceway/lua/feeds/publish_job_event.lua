-- Add an event to a job's stream and renew the stream's TTL: a stream without a TTL never is.
-- KEYS: the job's events. ARGV: retention_ms, then field, value for each field. Answers the id of the entry.
local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return id
