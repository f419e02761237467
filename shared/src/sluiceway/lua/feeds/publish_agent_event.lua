-- Count and add an agent event, once, however often it is sent.
-- KEYS: meta, published, events of slot 0, events of slot 1.
-- ARGV: live_ttl_ms, publish id, generation ('' for the one that is), type, the JSON in two halves between which the
-- sequence belongs, how many publish ids are remembered, after how many ms the registry has to hear of the stream.
-- Answers {'ok', entry id, the time in ms when the registry has to hear of it, else 0}, {'unknown'} or {'closed'}.
local seen = redis.call('HGET', KEYS[2], ARGV[2])
if seen then
    return {'ok', seen, '0'}
end
local known = redis.call('HMGET', KEYS[1], 'generation', 'sequence', 'status', 'slot', 'listed', 'user_id')
if not known[1] then
    return {'unknown'}
end
if known[3] ~= 'open' or (ARGV[3] ~= '' and ARGV[3] ~= known[1]) then
    return {'closed'}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local sequence = string.format('%.0f', known[2] + 1)
local entry = known[1] .. '-' .. sequence
local events = KEYS[3 + known[4]]
redis.call('XADD', events, entry, 't', ARGV[4], 'd', ARGV[5] .. sequence .. ARGV[6], 'o', known[6] or '')
redis.call('HSET', KEYS[1], 'sequence', sequence, 'active', string.format('%.0f', now))
-- A ring of places: a new id pushes out the one that has its place.
local place = '#' .. (sequence % ARGV[7])
local out = redis.call('HGET', KEYS[2], place)
if out then
    redis.call('HDEL', KEYS[2], out)
end
redis.call('HSET', KEYS[2], place, ARGV[2], ARGV[2], entry)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
redis.call('PEXPIRE', events, ARGV[1])
local due = '0'
if now - known[5] >= tonumber(ARGV[8]) then
    due = string.format('%.0f', now)
    redis.call('HSET', KEYS[1], 'listed', due)
end
return {'ok', entry, due}
