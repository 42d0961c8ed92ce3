-- Made by SQLAlchemy's metadata; the rows are made up. Labelled: member.email, .iban, .born.
CREATE TYPE public.level AS ENUM (
    'low',
    'mid',
    'high'
);
CREATE TABLE public.bug (
    id integer NOT NULL,
    severity integer NOT NULL
);
CREATE TABLE public.member (
    id integer NOT NULL,
    name character varying(50) NOT NULL,
    email character varying(80) NOT NULL,
    iban character varying(34),
    born date,
    level public.level NOT NULL,
    balance numeric(10,2) NOT NULL,
    tags text[] NOT NULL,
    doc jsonb NOT NULL,
    key uuid NOT NULL,
    created timestamp with time zone DEFAULT now() NOT NULL,
    version integer NOT NULL,
    team_id integer,
    CONSTRAINT balance_floor CHECK ((balance >= ('-1000'::integer)::numeric))
);
CREATE SEQUENCE public.member_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.member_id_seq OWNED BY public.member.id;
CREATE TABLE public.member_skill (
    member_id integer NOT NULL,
    skill_id integer NOT NULL
);
CREATE TABLE public.skill (
    id integer NOT NULL,
    label character varying(30) NOT NULL
);
CREATE SEQUENCE public.skill_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.skill_id_seq OWNED BY public.skill.id;
CREATE TABLE public.task (
    id integer NOT NULL,
    title character varying NOT NULL,
    hours double precision NOT NULL,
    done boolean NOT NULL,
    due date,
    member_id integer NOT NULL,
    kind character varying(10) NOT NULL
);
CREATE SEQUENCE public.task_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.task_id_seq OWNED BY public.task.id;
CREATE TABLE public.team (
    id integer NOT NULL,
    name character varying(40) NOT NULL,
    city character varying
);
CREATE SEQUENCE public.team_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.team_id_seq OWNED BY public.team.id;
CREATE VIEW public.v_team AS
SELECT
    NULL::integer AS id,
    NULL::character varying(40) AS name,
    NULL::bigint AS members;
ALTER TABLE ONLY public.member ALTER COLUMN id SET DEFAULT nextval('public.member_id_seq'::regclass);
ALTER TABLE ONLY public.skill ALTER COLUMN id SET DEFAULT nextval('public.skill_id_seq'::regclass);
ALTER TABLE ONLY public.task ALTER COLUMN id SET DEFAULT nextval('public.task_id_seq'::regclass);
ALTER TABLE ONLY public.team ALTER COLUMN id SET DEFAULT nextval('public.team_id_seq'::regclass);
ALTER TABLE ONLY public.bug
    ADD CONSTRAINT bug_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.member
    ADD CONSTRAINT member_email_key UNIQUE (email);
ALTER TABLE ONLY public.member
    ADD CONSTRAINT member_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.member_skill
    ADD CONSTRAINT member_skill_pkey PRIMARY KEY (member_id, skill_id);
ALTER TABLE ONLY public.skill
    ADD CONSTRAINT skill_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.task
    ADD CONSTRAINT task_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.team
    ADD CONSTRAINT team_name_key UNIQUE (name);
ALTER TABLE ONLY public.team
    ADD CONSTRAINT team_pkey PRIMARY KEY (id);
CREATE INDEX ix_member_team_id ON public.member USING btree (team_id);
CREATE INDEX member_name_lower ON public.member USING btree (lower((name)::text));
CREATE OR REPLACE VIEW public.v_team AS
 SELECT t.id,
    t.name,
    count(m.id) AS members
   FROM (public.team t
     LEFT JOIN public.member m ON ((m.team_id = t.id)))
  GROUP BY t.id;
ALTER TABLE ONLY public.bug
    ADD CONSTRAINT bug_id_fkey FOREIGN KEY (id) REFERENCES public.task(id);
ALTER TABLE ONLY public.member_skill
    ADD CONSTRAINT member_skill_member_id_fkey FOREIGN KEY (member_id) REFERENCES public.member(id);
ALTER TABLE ONLY public.member_skill
    ADD CONSTRAINT member_skill_skill_id_fkey FOREIGN KEY (skill_id) REFERENCES public.skill(id);
ALTER TABLE ONLY public.member
    ADD CONSTRAINT member_team_id_fkey FOREIGN KEY (team_id) REFERENCES public.team(id);
ALTER TABLE ONLY public.task
    ADD CONSTRAINT task_member_id_fkey FOREIGN KEY (member_id) REFERENCES public.member(id);

INSERT INTO team(name,city) SELECT 'Team '||g,'City'||g%3 FROM generate_series(1,8) g;
INSERT INTO skill(label) SELECT 'skill'||g FROM generate_series(1,6) g;
INSERT INTO member(name,email,iban,born,level,balance,tags,doc,key,created,version,team_id) SELECT 'Member '||g,'m'||g||'@example.com','DE8937040044053201'||1000+g,date '1970-01-01'+g*100,(ARRAY['low','mid','high'])[1+g%3]::level,g*2.5,ARRAY['t'||g%4],jsonb_build_object('lang',(ARRAY['en','de'])[1+g%2],'n',g),md5('k'||g)::uuid,timestamptz '2026-01-01 00:00+00'+g*interval '1 hour',1,CASE WHEN g%6>0 THEN 1+g%8 END FROM generate_series(1,120) g;
INSERT INTO member_skill SELECT g,1+(g+s)%6 FROM generate_series(1,120) g, generate_series(1,2) s;
INSERT INTO task(title,hours,done,due,member_id,kind) SELECT 'Task '||g,g%9,g%2=0,date '2026-02-01'+g,1+g%120,CASE WHEN g%10=0 THEN 'bug' ELSE 'task' END FROM generate_series(1,300) g;
INSERT INTO bug(id,severity) SELECT id,1+id%3 FROM task WHERE kind='bug';
ANALYZE;
