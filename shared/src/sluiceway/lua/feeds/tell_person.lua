-- Add events to what a person's devices are told, or find out where that is.
-- KEYS: the events. ARGV: ttl_ms (at least; it is never made shorter), how many are kept, '1' to begin anew, then type, json for each event.
-- Ids are GENERATION-NUMBER, and the numbers of a generation have no gap, so a reader sees what is missing. A generation
-- begins where there is nothing, where it is asked for, and where the server's replication id (the field r) is another
-- one: then events may be lost that readers have seen, under ids that must not come again. Its first entry says nothing.
-- With the end of a session goes all that was told of it before, as that may have its title. Whoever had not read it
-- sees a gap, and reads everything again.
-- Answers the id of the last entry.
local key, kept = KEYS[1], ARGV[2]
local life = string.sub(string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or '', 1, 12)
local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
local generation = last and string.match(last[1], '^(%d+)-')
local id = last and last[1]
if ARGV[3] == '1' or not last or last[2][6] ~= life then
    local now = redis.call('TIME')
    local at = now[1] * 1000000 + now[2]
    generation = string.format('%.0f', math.max(at, tonumber(generation or 0) + 1))
    id = redis.call('XADD', key, 'MAXLEN', kept, generation .. '-*', 't', 'begin', 'd', '{}', 'r', life)
end
for i = 4, #ARGV, 2 do
    if ARGV[i] == 'session-deleted' then
        local of_it = '"session_id":"' .. cjson.decode(ARGV[i + 1]).session_id .. '"'
        for _, entry in ipairs(redis.call('XRANGE', key, '-', '+')) do
            if string.find(entry[2][4], of_it, 1, true) then
                redis.call('XDEL', key, entry[1])
            end
        end
    end
    id = redis.call('XADD', key, 'MAXLEN', kept, generation .. '-*', 't', ARGV[i], 'd', ARGV[i + 1], 'r', life)
end
if redis.call('PTTL', key) < tonumber(ARGV[1]) then
    redis.call('PEXPIRE', key, ARGV[1])
end
return id
