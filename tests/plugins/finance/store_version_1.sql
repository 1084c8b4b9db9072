CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value BIGINT NOT NULL);
CREATE TABLE cursor (source $WORDS NOT NULL PRIMARY KEY, value $WORDS NOT NULL);
CREATE TABLE item (
    number INTEGER NOT NULL PRIMARY KEY, key $WORDS NOT NULL UNIQUE, source $WORDS NOT NULL, id $WORDS NOT NULL,
    published BIGINT NOT NULL, arrived BIGINT NOT NULL, title $WORDS NOT NULL, text $WORDS NOT NULL,
    url $WORDS NOT NULL, metadata TEXT NOT NULL, digest $WORDS NOT NULL, duplicate_of $WORDS, score $FLOAT,
    probabilities TEXT, vector BLOB
);
CREATE INDEX item_by_time ON item (published);
CREATE INDEX item_by_arrival ON item (arrived);
CREATE TABLE item_entity (
    number INTEGER NOT NULL, place INTEGER NOT NULL, entity $WORDS NOT NULL, score $FLOAT NOT NULL,
    weight $FLOAT NOT NULL, sentence $WORDS NOT NULL, PRIMARY KEY (number, place)
);
CREATE INDEX item_entity_by_entity ON item_entity (entity, number);
CREATE TABLE state (kind $WORDS NOT NULL, key $WORDS NOT NULL, json TEXT NOT NULL, PRIMARY KEY (kind, key));
CREATE TABLE reading (
    entity $WORDS NOT NULL, start BIGINT NOT NULL, "end" BIGINT NOT NULL, "index" $FLOAT, change $FLOAT,
    volume $FLOAT, statistic $FLOAT, threshold $FLOAT, alarm BOOLEAN NOT NULL, direction INTEGER NOT NULL,
    PRIMARY KEY (entity, start, "end")
);
CREATE INDEX reading_by_end ON reading ("end");
CREATE TABLE alert (
    id $WORDS NOT NULL PRIMARY KEY, entity $WORDS NOT NULL, kind $WORDS NOT NULL, state $WORDS NOT NULL,
    started BIGINT NOT NULL, fired BIGINT, ended BIGINT, json TEXT NOT NULL
);
CREATE INDEX alert_by_start ON alert (started);
CREATE TABLE notice (
    id $WORDS NOT NULL PRIMARY KEY, alert $WORDS NOT NULL, kind $WORDS NOT NULL, channel $WORDS NOT NULL,
    created BIGINT NOT NULL, payload TEXT NOT NULL, attempts INTEGER NOT NULL, next_try BIGINT, sent BIGINT,
    error $WORDS NOT NULL
);
CREATE INDEX notice_by_next_try ON notice (next_try);
CREATE TABLE inbox (number INTEGER NOT NULL PRIMARY KEY, source $WORDS NOT NULL, json TEXT NOT NULL);
CREATE TABLE verdict (
    number INTEGER NOT NULL PRIMARY KEY, alert $WORDS NOT NULL, confirmed BOOLEAN NOT NULL, analyst $WORDS NOT NULL,
    note $WORDS NOT NULL, given BIGINT NOT NULL
);
CREATE TABLE silence (
    id $WORDS NOT NULL PRIMARY KEY, pattern $WORDS NOT NULL, kind $WORDS NOT NULL, starts BIGINT NOT NULL,
    ends BIGINT NOT NULL, analyst $WORDS NOT NULL, note $WORDS NOT NULL
);
INSERT INTO meta VALUES ('version', 1), ('item', 3), ('inbox', 0), ('verdict', 1);
INSERT INTO item VALUES (
    3, 'wire/7', 'wire', '7', 1767225600000000, 1767225600000000, '', 'Acme rose.', '', '{}', '', NULL, 0.5, NULL, NULL
);
INSERT INTO alert VALUES ('a1', 'ACME', 'sentiment', 'firing', 1767225600000000, NULL, NULL, '{}');
INSERT INTO verdict VALUES (1, 'a1', TRUE, 'ann', '', 1767225600000000);
