-- The writer has finished its step and lets go: the task waits for its operations.
-- KEYS: meta. ARGV: attempt, the last batch of the writer ('' from somebody else), then field, value, ...
-- Answers 'ok', 'fenced' or 'lost': Redis forgot the task, this attempt or a batch of it, or may have (see begin.lua).
local known = redis.call('HMGET', KEYS[1], 'attempt', 'status', 'batch', 'epoch')
if not known[1] then
    return 'lost'
end
if known[1] ~= ARGV[1] or known[2] ~= 'running' then
    return tonumber(known[1]) < tonumber(ARGV[1]) and 'lost' or 'fenced'
end
local epoch = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
if ARGV[2] == '' then
    if known[4] and known[4] ~= epoch then
        return 'lost'
    end
elseif tonumber(known[3] or 0) ~= tonumber(ARGV[2]) then
    return 'lost'
end
redis.call('HSET', KEYS[1], 'status', 'waiting', 'epoch', epoch, unpack(ARGV, 3))
redis.call('HDEL', KEYS[1], 'held', 'holder', 'batch')
return 'ok'
