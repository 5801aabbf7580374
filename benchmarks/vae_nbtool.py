import json
class Book:
    def __init__(s,path):
        s.path=path; s.nb=json.load(open(path,encoding='utf-8')); s.cells=s.nb['cells']
    def get(s,id): 
        (c,)=[c for c in s.cells if c['id']==id]; return c
    def src(s,id): return ''.join(s.get(id)['source'])
    def set(s,id,text):
        lines=text.strip('\n').splitlines(keepends=True); s.get(id)['source']=lines; 
    def rep(s,id,*pairs):
        t=s.src(id)
        for a,b in pairs:
            assert t.count(a)==1,(id,a,t.count(a)); t=t.replace(a,b)
        s.set(id,t)
    def new(s,kind,id,text):
        assert all(c['id']!=id for c in s.cells)
        c=dict(cell_type=kind,id=id,metadata={},source=text.strip('\n').splitlines(keepends=True))
        if kind=='code': c|=dict(execution_count=0,outputs=[])
        s.cells.append(c); return id
    def order(s,ids):
        assert sorted(ids)==sorted(c['id'] for c in s.cells), set(ids)^{c['id'] for c in s.cells}
        assert len(set(ids))==len(ids)
        by={c['id']:c for c in s.cells}; s.cells[:]=[by[i] for i in ids]
    def drop(s,id): s.cells.remove(s.get(id))
    def save(s):
        k=0
        for c in s.cells:
            if c['cell_type']=='code': k+=1; c['execution_count']=k
            for o in c.get('outputs',[]):
                if o['output_type']=='execute_result': o['execution_count']=k
        assert len({c['id'] for c in s.cells})==len(s.cells)
        with open(s.path,'w',encoding='utf-8') as f:
            f.write(json.dumps(s.nb,indent=1,ensure_ascii=False,sort_keys=True)+'\n')
