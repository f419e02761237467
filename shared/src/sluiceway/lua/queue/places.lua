-- What a user can be told of how long his turn will wait.
-- KEYS: queue, heads, organisations. ARGV: group, what a lane's key begins with, what that of an organisation's seats,
-- that of its people, at most so many entries, users and organisations, then for each that is asked for: task id, user,
-- entry id in his lane ('': not known to be in one).
-- Answers {how many entries were ever delivered or -1, {for each user with a lane: user, its length}, {for each: its place
-- in the queue, from 0, or ''; its place in its lane, from 0, or ''}, {the ids of what waits in the queue}, {for each
-- organisation with people in lanes: its name, {for each of them, who is next first: user, length}}}.
local most = tonumber(ARGV[5])
local delivered, read = '0-0', -1
for _, info in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local fact = {}
    for f = 1, #info, 2 do
        fact[info[f]] = info[f + 1]
    end
    if fact['name'] == ARGV[1] then
        delivered, read = fact['last-delivered-id'], fact['entries-read'] or -1
    end
end
local waiting = redis.call('XRANGE', KEYS[1], '(' .. delivered, '+', 'COUNT', most)
local places, ids = {}, {}
for place, entry in ipairs(waiting) do
    ids[place] = entry[1]
    for f = 1, #entry[2], 2 do
        local task = entry[2][f] == 'd' and string.match(entry[2][f + 1], '"task_id":"([^"]+)"')
        if task then
            places[task] = place - 1
        end
    end
end
local function add_lane(lanes, user)
    local length = redis.call('LLEN', ARGV[2] .. user)
    if length > 0 then
        lanes[#lanes + 1] = user
        lanes[#lanes + 1] = length
    end
end
local lanes = {}
for _, user in ipairs(redis.call('ZRANGE', KEYS[2], 0, most - 1)) do
    add_lane(lanes, user)
end
local orgs, left = {}, most
for _, org in ipairs(redis.call('ZRANGE', KEYS[3], 0, most - 1)) do
    local people, seen = {}, {}
    for _, user in ipairs(left > 0 and redis.call('LRANGE', ARGV[4] .. org, 0, left - 1) or {}) do
        seen[user] = true
        add_lane(people, user)
    end
    -- Who has a seat comes behind the others, as he took his last.
    local seats, order = redis.call('LRANGE', ARGV[3] .. org, 0, -1), {}
    for s = #seats, 1, -1 do
        local user = string.match(seats[s], ' (.*)$')
        if not seen[user] then
            seen[user] = true
            table.insert(order, 1, user)
        end
    end
    for _, user in ipairs(order) do
        add_lane(people, user)
    end
    if #people > 0 then
        orgs[#orgs + 1] = org
        orgs[#orgs + 1] = people
        left = left - #people / 2
    end
end
local answers = {}
for a = 6, #ARGV, 3 do
    local place, behind = places[ARGV[a]], false
    if not place and ARGV[a + 2] ~= '' then
        behind = redis.call('LPOS', ARGV[2] .. ARGV[a + 1], ARGV[a + 2])
    end
    answers[#answers + 1] = {place or '', behind or ''}
end
return {read, lanes, answers, ids, orgs}
