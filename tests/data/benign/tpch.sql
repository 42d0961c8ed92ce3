-- The tables of TPC Benchmark H (specification 3.0.1, clause 1.4). The rows are made up for these tests, not dbgen's.
-- Labelled: customer.c_phone, customer.c_address, supplier.s_phone, supplier.s_address, orders.o_clerk.
CREATE TABLE region (r_regionkey int PRIMARY KEY, r_name char(25) NOT NULL, r_comment varchar(152));
CREATE TABLE nation (n_nationkey int PRIMARY KEY, n_name char(25) NOT NULL, n_regionkey int NOT NULL REFERENCES region, n_comment varchar(152));
CREATE TABLE part (p_partkey int PRIMARY KEY, p_name varchar(55) NOT NULL, p_mfgr char(25) NOT NULL, p_brand char(10) NOT NULL,
  p_type varchar(25) NOT NULL, p_size int NOT NULL, p_container char(10) NOT NULL, p_retailprice decimal(15, 2) NOT NULL, p_comment varchar(23) NOT NULL);
CREATE TABLE supplier (s_suppkey int PRIMARY KEY, s_name char(25) NOT NULL, s_address varchar(40) NOT NULL, s_nationkey int NOT NULL REFERENCES nation,
  s_phone char(15) NOT NULL, s_acctbal decimal(15, 2) NOT NULL, s_comment varchar(101) NOT NULL);
CREATE TABLE partsupp (ps_partkey int NOT NULL REFERENCES part, ps_suppkey int NOT NULL REFERENCES supplier, ps_availqty int NOT NULL,
  ps_supplycost decimal(15, 2) NOT NULL, ps_comment varchar(199) NOT NULL, PRIMARY KEY (ps_partkey, ps_suppkey));
CREATE TABLE customer (c_custkey int PRIMARY KEY, c_name varchar(25) NOT NULL, c_address varchar(40) NOT NULL, c_nationkey int NOT NULL REFERENCES nation,
  c_phone char(15) NOT NULL, c_acctbal decimal(15, 2) NOT NULL, c_mktsegment char(10) NOT NULL, c_comment varchar(117) NOT NULL);
CREATE TABLE orders (o_orderkey int PRIMARY KEY, o_custkey int NOT NULL REFERENCES customer, o_orderstatus char(1) NOT NULL, o_totalprice decimal(15, 2) NOT NULL,
  o_orderdate date NOT NULL, o_orderpriority char(15) NOT NULL, o_clerk char(15) NOT NULL, o_shippriority int NOT NULL, o_comment varchar(79) NOT NULL);
CREATE TABLE lineitem (l_orderkey int NOT NULL REFERENCES orders, l_partkey int NOT NULL REFERENCES part, l_suppkey int NOT NULL REFERENCES supplier,
  l_linenumber int NOT NULL, l_quantity decimal(15, 2) NOT NULL, l_extendedprice decimal(15, 2) NOT NULL, l_discount decimal(15, 2) NOT NULL,
  l_tax decimal(15, 2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL,
  l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL, PRIMARY KEY (l_orderkey, l_linenumber));

INSERT INTO region SELECT g, (ARRAY['AFRICA', 'AMERICA', 'ASIA', 'EUROPE', 'MIDDLE EAST'])[g + 1], 'r' FROM generate_series(0, 4) g;
INSERT INTO nation SELECT g - 1, n, (ARRAY[0,1,1,1,4,0,3,3,2,2,4,4,2,4,0,0,0,1,2,3,4,2,3,3,1])[g], 'n' FROM unnest(ARRAY[
  'ALGERIA', 'ARGENTINA', 'BRAZIL', 'CANADA', 'EGYPT', 'ETHIOPIA', 'FRANCE', 'GERMANY', 'INDIA', 'INDONESIA', 'IRAN', 'IRAQ', 'JAPAN', 'JORDAN',
  'KENYA', 'MOROCCO', 'MOZAMBIQUE', 'PERU', 'CHINA', 'ROMANIA', 'SAUDI ARABIA', 'VIETNAM', 'RUSSIA', 'UNITED KINGDOM', 'UNITED STATES']) WITH ORDINALITY u(n, g);
INSERT INTO part SELECT g, (ARRAY['forest', 'green', 'almond', 'blue'])[1 + g % 4] || ' part ' || g, 'Manufacturer#' || 1 + g % 5, 'Brand#' || 11 + g % 5 * 10 + g % 4,
  (ARRAY['PROMO', 'STANDARD', 'ECONOMY', 'MEDIUM'])[1 + g % 4] || ' ' || (ARRAY['ANODIZED', 'BURNISHED', 'PLATED'])[1 + g % 3] || ' ' || (ARRAY['STEEL', 'BRASS', 'TIN'])[1 + g % 3],
  1 + g % 50, (ARRAY['SM CASE', 'MED BOX', 'LG CASE', 'MED BAG', 'SM PKG'])[1 + g % 5], 900 + g, 'p' FROM generate_series(1, 200) g;
INSERT INTO supplier SELECT g, 'Supplier#' || lpad(g::text, 9, '0'), 'addr ' || g, g % 25, 10 + g % 25 || '-' || 100 + g || '-555-' || 1000 + g, g * 10,
  CASE WHEN g % 9 = 0 THEN 'some Customer had Complaints' ELSE 'fine' END FROM generate_series(1, 60) g;
INSERT INTO partsupp SELECT p, 1 + (p * 7 + s * 13) % 60, (p * s) % 900 + 1, (p % 40) + s, 'ps' FROM generate_series(1, 200) p, generate_series(0, 3) s ON CONFLICT DO NOTHING;
INSERT INTO customer SELECT g, 'Customer#' || lpad(g::text, 9, '0'), 'street ' || g, g % 25, 10 + g % 25 || '-' || 100 + g || '-555-' || 2000 + g, (g * 37 % 900) - 50,
  (ARRAY['BUILDING', 'AUTOMOBILE', 'MACHINERY', 'HOUSEHOLD', 'FURNITURE'])[1 + g % 5], 'c' FROM generate_series(1, 150) g;
INSERT INTO orders SELECT g, 1 + g * 11 % 140, (ARRAY['O', 'F', 'P'])[1 + g % 3], g * 100, date '1992-01-01' + g * 2, (ARRAY['1-URGENT', '2-HIGH', '3-MEDIUM', '4-NOT SPECIFIED', '5-LOW'])[1 + g % 5],
  'Clerk#' || lpad((g % 90)::text, 9, '0'), 0, CASE WHEN g % 7 = 0 THEN 'the special pending requests' ELSE 'o' END FROM generate_series(1, 1200) g;
INSERT INTO lineitem SELECT g, p, s, l, q, q * 1000, (g % 11) / 100.0, 0.02, (ARRAY['R', 'A', 'N'])[1 + g % 3], (ARRAY['O', 'F'])[1 + g % 2],
  d + l * 20, d + 45, d + l * 20 + 9, (ARRAY['DELIVER IN PERSON', 'NONE', 'TAKE BACK RETURN'])[1 + g % 3], (ARRAY['AIR', 'AIR REG', 'MAIL', 'SHIP', 'RAIL'])[1 + (g + l) % 5], 'l'
  FROM (SELECT g, l, 1 + (g * 3 + l * 17) % 200 AS p, 1 + ((1 + (g * 3 + l * 17) % 200) * 7 + l % 4 * 13) % 60 AS s, 1 + (g + l * 7) % 50 AS q, date '1992-01-01' + g * 2 AS d
        FROM generate_series(1, 1200) g, generate_series(1, 4) l) x;
INSERT INTO lineitem SELECT 1, 1, 1, 9 + g, 50, 1000, 0.05, 0, 'N', 'O', '1994-05-01', '1994-05-02', '1994-05-03', 'NONE', 'MAIL', 'l' FROM generate_series(1, 5) g;
ANALYZE;
